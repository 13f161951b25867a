"""What components share to deal with files; every one is opened through core.guard.

memory       what was read or written so far, kept over restarts
links        symbolic links that a listing leaves out, told once
preprocess   gzip, base64 and parquet around the content
"""
