_base_ = [
    './deeplabv3plus193_lite0_voc-animals.py', '../_base_/methods/ofd_auto.py', '../_base_/distillers/deeplabv3plus.py'
]

# At 49x49, 25x25, 13x13 and 13x13.
places = [f'backbone.timm_model.blocks.{block}' for block in (1, 2, 4, 6)]
model = dict(
    _delete_=True,
    type='ovkd_mm.FeatureDistiller',
    student=_base_.model,
    teacher=dict(
        model='{{ fileDirname }}/deeplabv3plus193_lite2_voc-animals-2k.py',
        checkpoint='work_dirs/deeplabv3plus193_lite2_voc-animals-2k/iter_2000.pth'),
    method=_base_.method,
    pairs=[dict(teacher=t, student=s) for t, s in zip(places, places)] + _base_.head_pairs.ours,
    input_shape=(193, 193))
