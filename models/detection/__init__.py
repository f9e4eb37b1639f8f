"""The detectors that show what generated infrared is worth."""
