"""Video files in and out: frames are uint8 RGB arrays [F, Y, X, 3], and long clips pass through in chunks.

ffmpeg.py  the one place that runs ffmpeg
partial.py the unfinished clip beside the final name, and that one run alone writes it
write.py   mp4, mkv, gif and folders of PNG, atomically; a new kind is a row of KINDS
read.py    the same kinds and a few more, within limits that are checked before decoding
"""
