"""coldmark: AI servers measured the MLPerf Inference way.

Rooms, from the ground up: `core`, `stats`, `rules`; then `loadgen`, `backends`, `workloads`,
`telemetry`, `store` (and `testing` beside them); then `runs` and `report`; `cli` on top.
Imports point down only; docs/explanation/house.md says why.
"""

__version__ = "0.1.0"
