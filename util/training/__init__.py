"""What every training needs and no paper is about: step, state, log, progress, validation, ranks."""
