"""The album and what is asked of it: indexing a folder, finding photos with Italian words, naming what a picture shows.

Public names, by file: `album` Album, Photo, Skip, Gallery · `indexing` index, IndexSummary, Progress, Stopped · `query`
search, Hit · `classify` classify, Guess · `sheet` contact_sheet, Row.
"""
