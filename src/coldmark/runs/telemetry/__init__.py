"""What is made of sensors: sampling a run, its telemetry line and verdicts, replay and live view."""
