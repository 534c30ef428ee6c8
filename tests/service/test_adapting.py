"""Adaptive rules: the better text gets more visitors, each a tenth at least, and who has one keeps it."""

from pathlib import Path

from rule_histories import RULE, History


async def test_the_better_text_gets_more_visitors_and_who_has_one_keeps_it(tmp_path: Path) -> None:
    shop = History(tmp_path, rules=[{**RULE, "adaptive": True, "no_invite": 10}])
    await shop.service.open()
    try:
        people = []
        for n in range(120):
            one = shop.person("sizes", "ask" if n % 2 else "help", shop.now - 500 + n)
            if one.arm == "ask" and n % 3 == 0:
                one.talk_at = one.at + 5
            people.append(one)
        await shop.write(people)
        await shop.service.adapting.adapt()
        experiment = shop.site.invites.experiment("sizes")
        names = [arm.name for arm in experiment.arms]
        parts = dict(zip(names, shop.service.inviting.parts[experiment.key], strict=True))
        assert round(parts["no_invite"], 6) == 0.1
        assert round(parts["ask"], 6) == round(0.9 * 0.9, 6)
        assert round(parts["help"], 6) == round(0.9 * 0.1, 6)
        # Others, computed from the same counts, have the same.
        again = dict(shop.service.inviting.parts)
        await shop.service.adapting.adapt()
        assert shop.service.inviting.parts == again
        lot = again[experiment.key]
        arms = [experiment.arm(f"visitor{n}", 0, lot) for n in range(2000)]
        assert arms.count("ask") > 1500
        assert 100 < arms.count("help") < 260
        # Whoever has a text keeps it, whatever the shares are by then.
        for n in range(200):
            kept = experiment.code(experiment.arm(f"visitor{n}"))
            assert experiment.arm(f"visitor{n}", kept, lot) == experiment.arm(f"visitor{n}")
        report = await shop.service.rule_reports.build(shop.site, 4)
        (test,) = report.texts
        assert test.shared
        assert [(row.text, row.verdict) for row in test.rows] == [("ask", None), ("help", None)]
    finally:
        await shop.service.close()
