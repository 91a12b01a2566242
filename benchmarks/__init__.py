"""How fast it is, measured against what it stands on: `make bench`.

One module for each figure: it sets the context in a folder of its own and says what it compares,
and why that is fair. How pairs are timed stands in `pairs`, how figures are shown in `results`.
"""
