"""Words for keys and lists: ours, and coined ones where more are needed."""

from __future__ import annotations

from collections.abc import Iterator

from numpy.random import Generator


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


ADJECTIVES = _words(
    """able amber ancient arctic bitter blank blunt bold brave brief bright brisk broad bronze calm careful cheap clean
    clever cloudy coarse cold crisp curious damp dark deep dense distant double dry dusty eager early empty faint fair
    famous fast fierce fine firm flat foreign fragile fresh frozen gentle giant golden grand gray heavy hidden hollow
    honest huge humble icy idle inner jolly keen kind large late lazy light little lively lonely long loud lucky mellow
    mild modern narrow neat noble noisy odd open orange outer pale patient plain polite proud public pure purple quick
    quiet rapid rare rich rough round royal rusty sharp shiny short silent silver simple slim slow small smooth soft
    solid spare steady steep stiff strange strong sudden sweet swift tall tame tender thick thin tidy tiny tired vast
    warm weary wet whole wide wild windy wise witty wooden young"""
)
NOUNS = _words(
    """acorn actor anchor apple apron arrow atlas badge baker barrel basket beacon beetle bench bicycle blanket board
    bottle bridge bucket button cabin cable camel candle canoe carpet castle cellar chalk chapel cherry chimney circle
    clock cloud coach copper corner cotton cousin cradle crayon cricket crown curtain daisy desert desk diary doctor
    donkey dragon drawer dream eagle elbow engine falcon farmer feather fence ferry fiddle finger flame flute forest
    fossil fountain garden garlic ginger glacier glove goose grape guitar hammer harbor harvest hazel helmet hotel
    island ivory jacket jewel judge jungle kettle kitchen ladder lantern lemon letter lizard locket magnet mantle maple
    marble market meadow melon mirror monkey mountain museum napkin needle oasis ocean olive onion orchard otter oven
    paddle palace parrot pencil pepper piano pigeon pillow planet plate pocket pony potato prince puzzle rabbit raven
    ribbon river rocket saddle sailor salmon scarf school shadow shelf shovel spider spoon station stone street summer
    table tailor temple tiger timber tower tractor trumpet tunnel turtle valley velvet violin wagon walnut whale willow
    window winter wizard yarn zebra"""
)
_ONSETS = _words("b br c cl d dr f fl g gr h j k l m n p pl r s sl st t tr v w z")
_VOWELS = _words("a e i o u ai ea oo")
_ENDS = _words("l m n r s t x nd rk st")


def key(rng: Generator) -> str:
    """Two words, such as "rusty-lantern": some 25,000 different ones."""
    return f"{_one(rng, ADJECTIVES)}-{_one(rng, NOUNS)}"


def coined(rng: Generator) -> str:
    """Two syllables that are no word, or hardly ever one: "breadosk"."""
    return "".join(_one(rng, part) for part in (_ONSETS, _VOWELS, _ONSETS, _VOWELS, _ENDS))


def letters(rng: Generator, n: int) -> str:
    """`n` random small letters."""
    return "".join(chr(97 + int(i)) for i in rng.integers(26, size=n))


def vocabulary(rng: Generator) -> Iterator[str]:
    """Single words without end, each once, in random order: first the real ones of the lists above, then coined."""
    real = (*ADJECTIVES, *NOUNS)
    seen = set(real)
    for i in rng.permutation(len(real)):
        yield real[i]
    while True:
        word = coined(rng)
        if word not in seen:
            seen.add(word)
            yield word


def _one(rng: Generator, words: tuple[str, ...]) -> str:
    return words[int(rng.integers(len(words)))]
