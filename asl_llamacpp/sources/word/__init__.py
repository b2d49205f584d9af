"""What is in a DOCX file: paragraphs with the numbers that Word gives them, tables, notes, comments."""
