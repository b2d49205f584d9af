from .case import Case

WORD: tuple[Case, ...] = ()
