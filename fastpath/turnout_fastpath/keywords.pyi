from collections.abc import Sequence
from typing import final

@final
class KeywordAutomaton:
    """Groups of keywords and phrases, found in one pass over a text however many there are.

    Case is ignored, white space of any length is one space, and a phrase is found as whole words. The module's
    docstring has the rules.
    """

    def __init__(self, groups: Sequence[Sequence[str]]) -> None:
        """Compiles the phrases of each group.

        Raises:
            ValueError: more than 1,024 groups, an empty phrase, or phrases that need more than 2**18 states.
        """

    @property
    def n_groups(self) -> int: ...
    def scan(self, text: str | bytes) -> list[int]:
        """Numbers of the groups that have a phrase in the text, ascending; bytes are UTF-8."""
