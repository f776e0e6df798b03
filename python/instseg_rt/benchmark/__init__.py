"""Latency and throughput of bundles, measured as `instseg benchmark` reports them.

| module | what |
| --- | --- |
| `options` | what to measure |
| `run` | measures it: predictors, warm-up, scenarios, peers, accuracy |
| `scenarios` | how calls follow each other: single-stream, offline, server |
| `statistics`, `early_stopping`, `ratios` | figures from samples |
| `environment`, `noise` | where the figures come from, and what disturbed them |
| `peers` | other programs that do the same work |
| `accuracy` | mask AP of the predictor that was measured |
| `records`, `report`, `plot` | what is kept of a run, and how it is shown |
"""
