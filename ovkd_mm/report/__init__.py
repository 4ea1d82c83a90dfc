"""Reading what a training logged, pages that compare trainings, tables and a picture of a model's places."""
