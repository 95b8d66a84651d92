"""manage.py import_suppressions: take over opt-outs made elsewhere."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from messaging.consent.opt_outs import opt_out
from messaging.models import Suppression
from messaging.vocabulary import SuppressionReason, SuppressionScope

pytestmark = pytest.mark.django_db
ANN, BOB = "+14155552671", "+447400123456"


@pytest.fixture
def run(tmp_path):
    """Runs the command on a file of these lines."""

    def run(*lines, addresses="phone", **options):
        path = tmp_path / "no.csv"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        options = {"addresses": addresses, "source": "former platform"} | options
        out = StringIO()
        call_command("import_suppressions", path, stdout=out, **options)
        return out.getvalue()

    return run


def test_everybody_on_the_list_is_suppressed_with_its_source(run):
    says = run("phone,country,name", f"{ANN},,Ann", "07400 123456,GB,Bob")

    assert says == "2 suppressed, 0 already suppressed, 0 rows rejected.\n"
    assert set(Suppression.objects.values_list("address", "source", "reason")) == {
        (ANN, "former platform", SuppressionReason.OPTED_OUT),
        (BOB, "former platform", SuppressionReason.OPTED_OUT),
    }


@pytest.mark.parametrize("reason", SuppressionReason)
def test_an_address_that_is_suppressed_already_keeps_a_reason_that_no_start_lifts(
    run, reason
):
    opt_out(ANN, source="STOP")
    says = run("phone", ANN, BOB, BOB, reason=reason.name.lower())
    opt_out(BOB, source="STOP")

    assert says == "1 suppressed, 2 already suppressed, 0 rows rejected.\n"
    rows = Suppression.objects.values_list("reason", "scope")
    assert [*rows] == [(reason, SuppressionScope.ALL)] * 2


def test_numbers_that_never_get_messages_may_say_no_all_the_same(run):
    says = run("phone", "+449061234567", "+442071838750", "+870773123456")

    assert says == "3 suppressed, 0 already suppressed, 0 rows rejected.\n"


def test_e_mail_addresses_match_in_any_case(run):
    run("email", "Ada@Example.COM", addresses="email")

    assert Suppression.objects.get().address == "ada@example.com"


@pytest.mark.parametrize(
    ("options", "scope"),
    [
        ({}, SuppressionScope.MARKETING),
        ({"scope": "all"}, SuppressionScope.ALL),
        ({"reason": "manual"}, SuppressionScope.ALL),
        ({"reason": "complaint", "scope": "marketing"}, SuppressionScope.MARKETING),
    ],
)
def test_an_opt_out_of_e_mail_is_one_of_marketing_unless_said_otherwise(
    run, options, scope
):
    run(
        "email",
        "ada@example.com",
        "Ada@Exam\u00adple.com",
        addresses="email",
        **options,
    )

    assert Suppression.objects.get().scope == scope


def test_a_list_that_holds_back_all_widens_an_opt_out_of_marketing(run):
    opt_out("ada@example.com", source="Unsubscribe link")

    says = run("email", "ada@example.com", addresses="email", reason="complaint")

    assert says.startswith("0 suppressed, 1 already suppressed")
    suppression = Suppression.objects.get()
    assert suppression.scope == SuppressionScope.ALL
    assert suppression.reason == SuppressionReason.COMPLAINT


def test_a_number_of_a_former_plan_is_its_handsets(run):
    says = run("phone", "+52 1 55 1234 5678", "+525512345678", "+22997123456")

    assert says == "2 suppressed, 1 already suppressed, 0 rows rejected.\n"
    assert set(Suppression.objects.values_list("address", flat=True)) == {
        "+525512345678",
        "+2290197123456",
    }


def test_a_list_without_rows_is_told_from_one_that_changed_nothing(run, tmp_path):
    says = run("phone")

    assert says == f"{tmp_path / 'no.csv'} has no rows. Nothing was changed.\n"


def test_rows_that_cannot_be_used_are_written_beside_the_file(run, tmp_path):
    says = run("phone", ANN, "nobody", "07400 123456")

    rejects = tmp_path / "no.rejected.csv"
    assert f"2 rows rejected. The rejected rows are in {rejects}." in says
    assert "3,'nobody' is not a valid phone number" in rejects.read_text()
    assert "in a column country or with --default-region" in rejects.read_text()


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o400])
def test_who_may_not_read_the_file_may_not_read_its_rejected_rows(run, tmp_path, mode):
    run("phone", ANN)
    (tmp_path / "no.csv").write_text("phone\nnobody\n")
    (tmp_path / "no.csv").chmod(mode)

    call_command(
        "import_suppressions", str(tmp_path / "no.csv"), addresses="phone", source="x"
    )

    kept = (tmp_path / "no.rejected.csv").stat().st_mode & 0o777
    assert not kept & ~(mode | 0o200)


def test_a_file_that_breaks_off_changes_nothing(run):
    with pytest.raises(
        CommandError, match=r"is not valid CSV .* Nothing was changed\."
    ):
        run("phone", ANN, '"+1415')

    assert not Suppression.objects.exists()
