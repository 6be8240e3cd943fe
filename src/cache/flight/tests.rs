use super::*;

const TENANT: Tenant = Tenant::SHARED;

fn head() -> Head {
    Head {
        status: 200,
        headers: vec![],
        shared_headers: vec![],
        stored_ms: None,
        content_length: None,
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

async fn rest_of(mut follower: Follower) -> (Vec<u8>, End) {
    let mut body = Vec::new();
    loop {
        match follower.next().await {
            Next::Pieces(pieces) => pieces.iter().for_each(|p| body.extend_from_slice(p)),
            Next::End(end) => return (body, end),
        }
    }
}

#[test]
fn a_late_follower_gets_the_whole_answer() {
    runtime().block_on(async {
        let flight = Flight::new(1024, TENANT);
        let early = flight.seat();
        flight.begin(head());
        assert!(flight.push(Bytes::from_static(b"one "), false).await);
        let late = flight.follow().unwrap();
        assert!(flight.push(Bytes::from_static(b"two"), false).await);
        flight.end(End::Complete);
        assert_eq!(rest_of(early).await, (b"one two".to_vec(), End::Complete));
        assert_eq!(rest_of(late).await, (b"one two".to_vec(), End::Complete));
        let (body, chunks) = flight.recording().unwrap();
        assert_eq!(&body[..], b"one two");
        assert_eq!(chunks.iter().map(|c| c.end).collect::<Vec<_>>(), [4, 7]);
    });
}

#[test]
fn the_last_piece_is_not_shown_before_the_end() {
    runtime().block_on(async {
        let flight = Flight::new(1024, TENANT);
        let mut follower = flight.seat();
        flight.begin(head());
        assert!(flight.push(Bytes::from_static(b"first "), false).await);
        assert!(flight.push(Bytes::from_static(b"last"), true).await);
        let Next::Pieces(pieces) = follower.next().await else {
            panic!("no piece")
        };
        assert_eq!(pieces, ["first "]);
        assert_eq!(flight.recording().unwrap().0, "first last");
        flight.end(End::Complete);
        assert_eq!(rest_of(follower).await, (b"last".to_vec(), End::Complete));
    });
}

#[test]
fn a_break_is_no_end_and_the_first_end_counts() {
    runtime().block_on(async {
        let flight = Flight::new(1024, TENANT);
        let follower = flight.seat();
        flight.begin(head());
        assert!(flight.push(Bytes::from_static(b"half"), false).await);
        flight.end(End::Broken("upstream-broken"));
        flight.end(End::Complete);
        assert!(!flight.push(Bytes::from_static(b"more"), false).await);
        assert_eq!(
            rest_of(follower).await,
            (b"half".to_vec(), End::Broken("upstream-broken"))
        );
    });
}

#[test]
fn a_follower_without_a_head_learns_of_the_failure() {
    runtime().block_on(async {
        let flight = Flight::new(1024, TENANT);
        let mut follower = flight.seat();
        flight.end(End::Failed(ApiError::internal()));
        assert_eq!(
            follower.head().await.unwrap_err(),
            End::Failed(ApiError::internal())
        );
    });
}

#[test]
fn an_answer_beyond_the_limit_waits_for_its_slowest_follower_and_arrives_whole() {
    runtime().block_on(async {
        let piece = Bytes::from(vec![7u8; 256 * 1024]);
        let flight = Flight::new(512 * 1024, TENANT);
        let mut slow = flight.seat();
        let quick = flight.seat();
        flight.begin(head());
        let filler = flight.clone();
        let sent = piece.clone();
        let fill = tokio::spawn(async move {
            for _ in 0..40 {
                assert!(filler.push(sent.clone(), false).await);
            }
            filler.end(End::Complete);
        });
        let quick = tokio::spawn(rest_of(quick));
        // The slow one reads once, then the fill must stop short of what is too much to hold.
        let first = slow.next().await;
        for _ in 0..200 {
            tokio::task::yield_now().await;
        }
        assert!(
            !fill.is_finished(),
            "the fill ran away from its slow follower"
        );
        assert!(
            flight.follow().is_none(),
            "the beginning is gone, nobody can join"
        );
        assert!(flight.recording().is_none(), "too long to be recorded");
        let Next::Pieces(pieces) = first else {
            panic!("no pieces")
        };
        let had: usize = pieces.iter().map(Bytes::len).sum();
        let (body, end) = rest_of(slow).await;
        assert_eq!((had + body.len(), end), (40 * piece.len(), End::Complete));
        assert_eq!(quick.await.unwrap().0.len(), 40 * piece.len());
        fill.await.unwrap();
    });
}

#[test]
fn an_answer_beyond_the_limit_goes_on_when_everyone_has_left() {
    runtime().block_on(async {
        let flight = Flight::new(1024, TENANT);
        let follower = flight.seat();
        flight.begin(head());
        let filler = flight.clone();
        let fill = tokio::spawn(async move {
            for _ in 0..8 {
                assert!(filler.push(Bytes::from(vec![0; 1 << 20]), false).await);
            }
        });
        tokio::task::yield_now().await;
        drop(follower);
        fill.await.unwrap();
        flight.deserted().await;
    });
}
