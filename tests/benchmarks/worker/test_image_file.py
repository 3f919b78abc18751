"""Images reach a worker by the name of their file and their rows."""

import numpy as np

from compress.benchmarks.worker.image_file import ImageFile
from compress.benchmarks.worker.protocol import ClassifiedImages, ClassifyImages


class Recorder:
    def send(self, request):
        self.request = request
        return ClassifiedImages([0.1] * request.repeats, np.zeros((len(request.rows), 2)))


def test_a_worker_is_sent_the_file_and_the_rows(tmp_path):
    pixels = np.random.default_rng(0).normal(size=(4, 3, 2, 2)).astype(np.float32)
    images, worker = ImageFile.saved(pixels, tmp_path), Recorder()
    answer = images.classify(worker, np.array([[3], [1]]), repeats=2)
    assert isinstance(worker.request, ClassifyImages)
    assert (worker.request.rows.tolist(), len(answer.seconds), len(answer.outputs)) == ([3, 1], 2, 2)
    assert (np.load(worker.request.images) == pixels).all()
