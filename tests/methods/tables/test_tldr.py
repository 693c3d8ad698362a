"""What the contract needs to know of TLDR; ``test_tables.py`` tests its formulas."""


def nearest(method):
    method.near = method.near[:, :1]  # the nearest neighbour, always: no chance
    return method.views


CONTRACT = {
    "kinds": ("numbers",),
    "encoder": {"dim": 4},
    "options": {"hidden": 64},
    "two": {"": {"options": {"hidden": 16}, "views": nearest}},
    "exempt": {"labels": "four numbers of twelve: a random map of such short rows keeps the classes as well"},
}
