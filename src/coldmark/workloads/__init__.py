"""What is measured: a folder a task, with its models, samples and scorer.

A workload is a folder here that holds a `workload.toml`; adding one touches no existing file.
"""
