//! Every (state, event) of the four machines, over datagrams and streams.

use super::Action::{Deliver, Send, SendAck, SetEnd, SetRepeat, StopRepeat, TellTimeout, TellUnreachable, Terminate};
use super::{Action, Class, ClientEvent, ClientMachine, ClientState, Kind, ServerEvent, ServerMachine, ServerState};

const SERVER_EVENTS: [ServerEvent; 8] = [
    ServerEvent::Request,
    ServerEvent::Ack,
    ServerEvent::Respond(Class::Provisional),
    ServerEvent::Respond(Class::Success),
    ServerEvent::Respond(Class::Failure),
    ServerEvent::Repeat,
    ServerEvent::End,
    ServerEvent::SendFailed,
];

const CLIENT_EVENTS: [ClientEvent; 6] = [
    ClientEvent::Response(Class::Provisional),
    ClientEvent::Response(Class::Success),
    ClientEvent::Response(Class::Failure),
    ClientEvent::Repeat,
    ClientEvent::End,
    ClientEvent::SendFailed,
];

/// What each event does in a state: the state after it and the actions.
type ServerRow<'a> = (&'a [ServerEvent], [(ServerState, &'a [Action]); 8]);

fn check_server(kind: Kind, reliable: bool, rows: &[ServerRow<'_>]) {
    for (way, expected) in rows {
        let mut machine = ServerMachine::new(kind, reliable);
        for event in *way {
            machine.step(*event);
        }
        for (event, (state, actions)) in SERVER_EVENTS.into_iter().zip(expected) {
            let mut machine = machine;
            let found = machine.step(event);
            assert_eq!((machine.state(), found.as_slice()), (*state, *actions), "{kind:?} {way:?} then {event:?}");
        }
    }
}

#[test]
fn server_invite_over_datagrams() {
    use ServerState::{Accepted, Completed, Confirmed, Proceeding, Terminated};
    let success = ServerEvent::Respond(Class::Success);
    let failure = ServerEvent::Respond(Class::Failure);
    check_server(
        Kind::Invite,
        false,
        &[
            (
                &[],
                [
                    (Proceeding, &[Send]),
                    (Proceeding, &[]),
                    (Proceeding, &[Send]),
                    (Accepted, &[Send, SetEnd(32_000)]),
                    (Completed, &[Send, SetRepeat(500), SetEnd(32_000)]),
                    (Proceeding, &[]),
                    (Proceeding, &[]),
                    (Proceeding, &[TellUnreachable]),
                ],
            ),
            (
                &[success],
                [
                    (Accepted, &[]),
                    (Accepted, &[Deliver]),
                    (Accepted, &[]),
                    (Accepted, &[Send]),
                    (Accepted, &[]),
                    (Accepted, &[]),
                    (Terminated, &[Terminate]),
                    (Accepted, &[TellUnreachable]),
                ],
            ),
            (
                &[failure],
                [
                    (Completed, &[Send]),
                    (Confirmed, &[StopRepeat, SetEnd(5_000)]),
                    (Completed, &[]),
                    (Completed, &[]),
                    (Completed, &[]),
                    (Completed, &[Send, SetRepeat(1_000)]),
                    (Terminated, &[TellTimeout, Terminate]),
                    (Completed, &[TellUnreachable]),
                ],
            ),
            (
                &[failure, ServerEvent::Ack],
                [
                    (Confirmed, &[]),
                    (Confirmed, &[]),
                    (Confirmed, &[]),
                    (Confirmed, &[]),
                    (Confirmed, &[]),
                    (Confirmed, &[]),
                    (Terminated, &[Terminate]),
                    (Confirmed, &[]),
                ],
            ),
            (&[success, ServerEvent::End], [(Terminated, &[]); 8]),
        ],
    );
}

#[test]
fn server_invite_over_streams_repeats_nothing() {
    let mut machine = ServerMachine::new(Kind::Invite, true);
    assert_eq!(machine.step(ServerEvent::Respond(Class::Failure)), [Send, SetEnd(32_000)]);
    assert_eq!(machine.step(ServerEvent::Ack), [StopRepeat, SetEnd(0)]);
}

#[test]
fn server_non_invite_over_datagrams() {
    use ServerState::{Completed, Proceeding, Terminated, Trying};
    let begun = |state: ServerState, on_request: &'static [Action]| -> [(ServerState, &'static [Action]); 8] {
        [
            (state, on_request),
            (state, &[]),
            (Proceeding, &[Send]),
            (Completed, &[Send, SetEnd(32_000)]),
            (Completed, &[Send, SetEnd(32_000)]),
            (state, &[]),
            (state, &[]),
            (state, &[TellUnreachable]),
        ]
    };
    check_server(
        Kind::NonInvite,
        false,
        &[
            (&[], begun(Trying, &[])),
            (&[ServerEvent::Respond(Class::Provisional)], begun(Proceeding, &[Send])),
            (
                &[ServerEvent::Respond(Class::Success)],
                [
                    (Completed, &[Send]),
                    (Completed, &[]),
                    (Completed, &[]),
                    (Completed, &[]),
                    (Completed, &[]),
                    (Completed, &[]),
                    (Terminated, &[Terminate]),
                    (Completed, &[TellUnreachable]),
                ],
            ),
            (&[ServerEvent::Respond(Class::Failure), ServerEvent::End], [(Terminated, &[]); 8]),
        ],
    );
    let mut stream = ServerMachine::new(Kind::NonInvite, true);
    assert_eq!(stream.step(ServerEvent::Respond(Class::Success)), [Send, SetEnd(0)]);
}

type ClientRow<'a> = (&'a [ClientEvent], [(ClientState, &'a [Action]); 6]);

fn check_client(kind: Kind, rows: &[ClientRow<'_>]) {
    for (way, expected) in rows {
        let (mut machine, _) = ClientMachine::start(kind, false);
        for event in *way {
            machine.step(*event);
        }
        for (event, (state, actions)) in CLIENT_EVENTS.into_iter().zip(expected) {
            let mut machine = machine;
            let found = machine.step(event);
            assert_eq!((machine.state(), found.as_slice()), (*state, *actions), "{kind:?} {way:?} then {event:?}");
        }
    }
}

#[test]
fn client_invite_over_datagrams() {
    use ClientState::{Accepted, Calling, Completed, Proceeding, Terminated};
    let provisional = ClientEvent::Response(Class::Provisional);
    let success = ClientEvent::Response(Class::Success);
    let failure = ClientEvent::Response(Class::Failure);
    let accepted: &[Action] = &[StopRepeat, Deliver, SetEnd(32_000)];
    let completed: &[Action] = &[StopRepeat, SendAck, Deliver, SetEnd(32_000)];
    check_client(
        Kind::Invite,
        &[
            (
                &[],
                [
                    (Proceeding, &[StopRepeat, Deliver]),
                    (Accepted, accepted),
                    (Completed, completed),
                    (Calling, &[Send, SetRepeat(1_000)]),
                    (Terminated, &[TellTimeout, Terminate]),
                    (Terminated, &[TellUnreachable, Terminate]),
                ],
            ),
            (
                &[provisional],
                [
                    (Proceeding, &[Deliver]),
                    (Accepted, accepted),
                    (Completed, completed),
                    (Proceeding, &[]),
                    (Proceeding, &[]),
                    (Terminated, &[TellUnreachable, Terminate]),
                ],
            ),
            (
                &[success],
                [
                    (Accepted, &[]),
                    (Accepted, &[Deliver]),
                    (Accepted, &[]),
                    (Accepted, &[]),
                    (Terminated, &[Terminate]),
                    (Accepted, &[]),
                ],
            ),
            (
                &[failure],
                [
                    (Completed, &[]),
                    (Completed, &[]),
                    (Completed, &[SendAck]),
                    (Completed, &[]),
                    (Terminated, &[Terminate]),
                    (Completed, &[]),
                ],
            ),
            (&[failure, ClientEvent::End], [(Terminated, &[]); 6]),
        ],
    );
}

#[test]
fn client_non_invite_over_datagrams() {
    use ClientState::{Completed, Proceeding, Terminated, Trying};
    let finished: &[Action] = &[StopRepeat, Deliver, SetEnd(5_000)];
    let begun = |state: ClientState, next_ms: &'static [Action]| -> [(ClientState, &'static [Action]); 6] {
        [
            (Proceeding, &[Deliver]),
            (Completed, finished),
            (Completed, finished),
            (state, next_ms),
            (Terminated, &[TellTimeout, Terminate]),
            (Terminated, &[TellUnreachable, Terminate]),
        ]
    };
    check_client(
        Kind::NonInvite,
        &[
            (&[], begun(Trying, &[Send, SetRepeat(1_000)])),
            (&[ClientEvent::Response(Class::Provisional)], begun(Proceeding, &[Send, SetRepeat(4_000)])),
            (
                &[ClientEvent::Response(Class::Success)],
                [
                    (Completed, &[]),
                    (Completed, &[]),
                    (Completed, &[]),
                    (Completed, &[]),
                    (Terminated, &[Terminate]),
                    (Completed, &[]),
                ],
            ),
            (&[ClientEvent::End], [(Terminated, &[]); 6]),
        ],
    );
}

#[test]
fn intervals_double_to_their_bounds() {
    let intervals = |kind: Kind| {
        let (mut machine, _) = ClientMachine::start(kind, false);
        (0..6)
            .map(|_| match machine.step(ClientEvent::Repeat).last() {
                Some(SetRepeat(ms)) => *ms,
                other => panic!("{other:?}"),
            })
            .collect::<Vec<_>>()
    };
    // Timer A has no bound but timer B; timer E stops at T2.
    assert_eq!(intervals(Kind::Invite), [1_000, 2_000, 4_000, 8_000, 16_000, 32_000]);
    assert_eq!(intervals(Kind::NonInvite), [1_000, 2_000, 4_000, 4_000, 4_000, 4_000]);
}

#[test]
fn streams_need_no_repeats_and_no_waiting() {
    let (mut invite, actions) = ClientMachine::start(Kind::Invite, true);
    assert_eq!(actions, [Send, SetEnd(32_000)]);
    assert_eq!(invite.step(ClientEvent::Response(Class::Failure)), [StopRepeat, SendAck, Deliver, SetEnd(0)]);
    let (mut other, _) = ClientMachine::start(Kind::NonInvite, true);
    assert_eq!(other.step(ClientEvent::Response(Class::Success)), [StopRepeat, Deliver, SetEnd(0)]);
}
