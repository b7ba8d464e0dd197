"""The Python package, with the default model: python -m unittest, or pytest. PALME_MODEL names the model file."""

import os
import threading
import unittest

import palme

MODEL = os.environ["PALME_MODEL"]
SIDE = 96


def gradient(pixel=3):
    """Rows of a picture that is not grey."""
    return bytes((x * 2 + y * channel) % 256 for y in range(SIDE) for x in range(SIDE) for channel in range(pixel))


class TestPalme(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.model = palme.Model(MODEL)
        cls.picture = palme.Picture(gradient(), width=SIDE, height=SIDE)

    def test_pieces_are_the_caption(self):
        session = self.model.session()
        caption = session.caption(self.picture)
        self.assertTrue(caption.text)
        session.look(self.picture)
        pieces = list(session)
        self.assertGreater(len(pieces), 1)
        self.assertEqual("".join(pieces).strip(), caption.text)
        self.assertEqual(session.score(), caption.score)

    def test_finish(self):
        session = self.model.session(beams=3)
        session.look(self.picture)
        with self.assertRaises(palme.Error):
            session.finish()
        session.prompt(None)
        self.assertEqual(next(iter(session)), "")
        session.finish()
        self.assertTrue("".join(session).strip())

    def test_score(self):
        session = self.model.session()
        caption = session.caption(self.picture)
        self.assertLess(caption.score, 0)
        self.assertLess(session.score("zebra zebra zebra zebra"), caption.score)

    def test_labels(self):
        session = self.model.session()
        caption = session.caption(self.picture)
        self.assertEqual(caption.labels, session.labels())
        probabilities = [label.probability for label in caption.labels]
        self.assertEqual(probabilities, sorted(probabilities, reverse=True))
        self.assertTrue(all(0 <= p <= 1 and label.name for p, label in zip(probabilities, caption.labels)))
        self.assertGreater(self.model.labels, 0)
        self.assertEqual(self.model.session(no_labels=1).caption(self.picture).labels, [])
        self.assertIsInstance(caption.confirmed, bool)
        self.assertIsInstance(session.cautious(), str)

    def test_a_prompt_is_judged_with_its_caption(self):
        session = self.model.session(max_length=3)
        judged = []
        session.confirms = lambda text: bool(judged.append(text))
        caption = session.caption(self.picture, "two dogs")
        self.assertEqual(judged, ["two dogs" + caption.text])

    def test_prompt(self):
        session = self.model.session(max_length=3, beams=1)
        session.look(self.picture)
        session.prompt("two dogs")
        # A piece is empty while it is not decided.
        self.assertLessEqual(sum(piece != "" for piece in session), 3)
        for prompt, status in (("many words " * 300, -9), ("many words " * 400, -11)):
            with self.assertRaises(palme.Error) as caught:
                session.caption(self.picture, prompt)
            self.assertEqual(caught.exception.status, status)

    def test_options(self):
        blocked = self.model.session(blocklist="a").caption(self.picture).text
        self.assertNotIn("a", blocked.split())
        drawn = [self.model.session(temperature=2.0, seed=seed).caption(self.picture).text for seed in range(4)]
        self.assertGreater(len(set(drawn)), 1)
        with self.assertRaisesRegex(TypeError, "no option 'beam'"):
            self.model.session(beam=3)
        with self.assertRaises(palme.Error):
            self.model.session(beams=99)

    def test_formats_agree(self):
        rgb = gradient()
        bgrx = b"".join(rgb[i : i + 3][::-1] + b"\x07" for i in range(0, len(rgb), 3))
        padded = b"".join(rgb[i : i + 3 * SIDE] + b"pad" for i in range(0, len(rgb), 3 * SIDE))
        session = self.model.session()
        expected = session.caption(self.picture)
        same = [
            (bgrx, {"format": "bgrx"}),
            (padded, {"stride": 3 * SIDE + 3}),
            (bytearray(rgb), {}),
            (memoryview(rgb), {}),
        ]
        for data, more in same:
            self.assertEqual(session.caption(palme.Picture(data, width=SIDE, height=SIDE, **more)), expected)

    def test_pictures_are_checked(self):
        for words, more in (
            ("format", {"format": "cmyk"}),
            ("width and height", {"width": 0}),
            ("stride", {"stride": 1}),
            ("bytes", {"height": SIDE + 1}),
        ):
            with self.assertRaisesRegex(ValueError, words):
                palme.Picture(gradient(), **{"width": SIDE, "height": SIDE, **more})

    def test_errors_say_what_the_engine_said(self):
        with self.assertRaisesRegex(palme.Error, "/none/model") as caught:
            palme.Model("/none/model")
        self.assertEqual(caught.exception.status, -2)
        with self.assertRaises(palme.Error) as caught:
            palme.Model(__file__)
        self.assertIn(__file__, str(caught.exception))
        with self.assertRaises(palme.Error):
            next(iter(self.model.session()))

    def test_threads_share_a_model(self):
        expected = self.model.session().caption(self.picture)
        got = []
        threads = [
            threading.Thread(target=lambda: got.append(self.model.session().caption(self.picture))) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(got, [expected] * 4)

    def test_a_session_keeps_its_model(self):
        session = palme.Model(MODEL).session()
        self.assertEqual(session.caption(self.picture), self.model.session().caption(self.picture))

    def test_info(self):
        self.assertRegex(palme.version(), r"^\d+\.\d+\.\d+$")
        self.assertIn(self.model.precision, ("f32", "bf16", "int8"))
        self.assertEqual(palme.Model(MODEL, level="c").level, "c")
        self.assertEqual(palme.Model(MODEL, precision="f32").precision, "f32")


if __name__ == "__main__":
    unittest.main()
