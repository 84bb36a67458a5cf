"""Speech recognition: an RNN-T from waveform to letters."""
