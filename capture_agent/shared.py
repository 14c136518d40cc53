"""Lists that many messages share: equal to any list, but nobody can change them in place."""

from __future__ import annotations

from typing import Any, NoReturn


def _refuse(self: Any, *args: Any, **kwargs: Any) -> NoReturn:
    raise TypeError("this list is shared by many messages: set the key to a new one, list(...)")


class SharedList(list[Any]):
    """A list that can't be changed. A copy of it can."""

    __slots__ = ()

    append = extend = insert = remove = pop = clear = sort = reverse = _refuse
    __setitem__ = __delitem__ = __iadd__ = __imul__ = _refuse

    def __reduce_ex__(self, protocol: Any) -> tuple[type[list[Any]], tuple[list[Any]]]:
        return list, (list(self),)
