from .case import Case

BOOKS: tuple[Case, ...] = ()
