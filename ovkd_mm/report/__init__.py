"""Reading what a training logged, and pages that compare trainings."""
