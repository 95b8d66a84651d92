from routing.simulators.handset import HandsetLog, SimulatedMessage, read_handset_log

MESSAGE = SimulatedMessage(
    provider="TwilioMMS",
    external_message_id="MM1",
    reference="m1a1",
    recipient="+15558675310",
    body="Grüße\nzwei",
    media_urls=("https://example.com/a.png",),
    segments=2,
)


def test_a_line_reads_back_as_it_was_written(tmp_path):
    log = HandsetLog(tmp_path / "log")
    log.write("accepted", MESSAGE)
    log.close()

    [entry] = read_handset_log(tmp_path / "log")

    assert (entry.event, entry.message) == ("accepted", MESSAGE)
    assert entry.at.tzinfo is not None


def test_a_line_is_there_without_closing_and_is_appended(tmp_path):
    path = tmp_path / "log"
    logs = [HandsetLog(path), HandsetLog(path)]
    for log in logs:
        log.write("accepted", MESSAGE)
        log.write("handset", MESSAGE)
    events = [entry.event for entry in read_handset_log(path)]
    for log in logs:
        log.close()

    assert events == ["accepted", "handset", "accepted", "handset"]


def test_a_line_still_being_written_is_left_out(tmp_path):
    path = tmp_path / "log"
    log = HandsetLog(path)
    log.write("accepted", MESSAGE)
    log.close()
    path.write_text(path.read_text() + '{"event": "hand')

    assert len(list(read_handset_log(path))) == 1


def test_a_log_without_a_path_forgets():
    log = HandsetLog(None)
    log.write("accepted", MESSAGE)
    log.truncate()
    log.close()
