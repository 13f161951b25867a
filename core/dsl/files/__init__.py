"""What components share to deal with files; every one is opened through core.guard.

memory       what was read or written so far, kept over restarts
links        symbolic links that a listing leaves out, skipped and told once a firing
skips        what was skipped, until it was read
threads      what is done beside the loop, and is not left half done
preprocess   gzip, base64 and parquet around the content
"""
