from .case import Case

TEXT: tuple[Case, ...] = ()
