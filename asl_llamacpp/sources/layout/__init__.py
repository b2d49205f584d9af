"""Characters with places as text in reading order: lines, columns, tables, paragraphs."""
