# The paper's weight for 224x224 inputs.
_base_ = './ofd.py'
method = dict(loss=dict(loss_weight=1e-4))
