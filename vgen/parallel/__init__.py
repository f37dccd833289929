"""One run over several processes, each with a device of its own.

    launched.py   what torchrun tells a process; who of several that fail speaks
    launch.py     starts the processes
    degrees.py    how many of them share what
    peers.py      processes that do something together, and what they send each other
    mesh.py       who they are: axes, replicas, the main one of each
    ulysses.py    tokens and heads over processes       guidance.py   branches of guidance over two
    clips.py      frames over processes                 weights.py    weights over processes
    sharing.py    seeds, findings and frames that all must have alike

Every process runs the same program over the same request (SPMD); what only one of them does is asked of its `Mesh`.
"""
