# Weighted kNN on frozen features: tools/test.py CONFIG CHECKPOINT.
test_cfg = dict(
    type='mixae.FeatureProbeLoop',
    probe=dict(type='mixae.WeightedKNN', k=20, temperature=0.07),
    pool='avg',
)
test_evaluator = dict(type='mixae.Accuracy', topk=(1, 5))
task = 'knn'
protocol = dict(name='weighted-knn', version='1')  # the record appends k
