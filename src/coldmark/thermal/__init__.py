"""The server twin's physics: fluids, networks, cooling, power and clocks, and server models as data.

Nothing here knows a benchmark's rules, a file of others or a device; every number it returns is simulated.
"""
