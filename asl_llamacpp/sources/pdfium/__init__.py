"""PDF files as pdfium has them: glyphs, fields, notes and pictures of pages. pdfium runs in one thread at a time."""
