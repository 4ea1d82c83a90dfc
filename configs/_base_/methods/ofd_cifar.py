# The paper's weight for 32x32 inputs.
_base_ = './ofd.py'
method = dict(loss=dict(loss_weight=1e-3))
