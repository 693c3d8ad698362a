"""What the contract needs to know of MLEM; ``test_events.py`` tests its formulas."""

from two_processes import halves, histories

CONTRACT = {
    "encoder": {"dim": 32},
    "learn": {"epochs": 10},
    "options": {"slices": 3, "shortest": 8, "longest": 24, "width": 32, "depth": 1},
    "exempt": {"labels": "80 steps gain nothing (59 %, untrained 61); 240 do (69 %, untrained 64)"},
    "two": {
        "": {
            "source": histories,
            "encoder": {"dim": 8, "noise": 0.0},
            "options": {"slices": 2, "shortest": 6},
            "views": lambda method: halves,
        }
    },
}
