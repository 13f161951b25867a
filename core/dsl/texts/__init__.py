"""The text of PDF and Word files, which strangers have made: read in a process that has nothing and may do nothing.

extractor   the worker's side: starts that process, gives it one file after the other, ends it when one has broken it
reader      that process; wire: what goes between both
pdf, docx   bytes to text, within bounds
"""
