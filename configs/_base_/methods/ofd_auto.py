# Its weight measured instead of given, for any input size, batch and pair of networks.
_base_ = './ofd.py'
method = dict(loss=dict(loss_weight='auto'))
