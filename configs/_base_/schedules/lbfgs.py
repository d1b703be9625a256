# Logistic regression by L-BFGS on fixed features. C is chosen on a fifth of the training set; then
# the classifier is fitted on all of it: tools/test.py CONFIG CHECKPOINT.
test_cfg = dict(
    type='mixae.FeatureProbeLoop',
    probe=dict(type='mixae.LogisticRegression', hold_out=0.2),
    pool='avg',
)
test_evaluator = dict(type='mixae.Accuracy', topk=(1, 5))
task = 'linear'
protocol = dict(name='logistic-regression', version='1')
