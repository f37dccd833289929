"""What a report looks like: `data` for programs, `page` for people, `text` for a terminal, `folder` on the disk."""
