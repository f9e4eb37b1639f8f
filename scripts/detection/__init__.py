"""What scripts.evaluate_detection is made of: training a detector, reporting what it finds."""
