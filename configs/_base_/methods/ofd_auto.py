# Its weight measured instead of given, for any input size, batch and pair of networks: the gradient of distillation is
# `share` times as large as the task's.
_base_ = './ofd.py'
method = dict(loss=dict(loss_weight=dict(_delete_=True, share=1.0)))
