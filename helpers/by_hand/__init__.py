"""Driving with the arrow keys, in a notebook cell or in a window, and the laps that come of it."""
