"""What documents the job language: read off its declarations, so that it is true to them.

answers   what the doors show: index, one entry, its keys, search
entries   components, triggers and topics with their keys and examples
topics    the texts about what is no component: documents, placeholders, conditions
schemas   the JSON Schema of a job document, for editors
"""
