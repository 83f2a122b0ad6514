//! What behind the end of a stream is left to be learnt.

use std::future::poll_fn;
use std::io::ErrorKind;
use std::net::{Shutdown, TcpStream};

use tokio::time::timeout;

use super::*;
use crate::relay::tests::connection;

/// Runs `test` with an application that has sent a byte and ended its half, of which the reactor has heard.
fn behind_the_end<T>(test: impl AsyncFnOnce(TcpStream, Socket) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (mut app, ours) = connection();
        app.write_all(b"x").unwrap();
        app.shutdown(Shutdown::Write).unwrap();
        let socket = Socket::new(ours).unwrap();
        loop {
            let mut guard = socket.io.readable().await.unwrap();
            if guard.ready().is_read_closed() {
                break;
            }
            guard.clear_ready();
        }
        test(app, socket).await
    })
}

/// Finds that the connection has not failed, which makes the reactor forget that there is room.
async fn not_failed(socket: &Socket) {
    poll_fn(|cx| {
        assert!(socket.poll_failure(cx).is_pending());
        Poll::Ready(())
    })
    .await;
    assert!(socket.unwritten.get());
}

#[test]
fn a_reset_behind_an_end_that_nobody_reads_is_noticed() {
    let failure = behind_the_end(async |app, socket| {
        not_failed(&socket).await;
        SockRef::from(&app).set_linger(Some(Duration::ZERO)).unwrap();
        drop(app);
        timeout(PATIENCE, poll_fn(|cx| socket.poll_failure(cx))).await
    });
    assert_eq!(failure.expect("who waits is woken").kind(), ErrorKind::BrokenPipe);
}

#[test]
fn what_is_written_behind_an_end_is_written_at_once_and_waits_for_room_where_there_is_none() {
    behind_the_end(async |mut app, socket| {
        let write = async |bytes: &[u8], within| {
            let written = timeout(within, poll_fn(|cx| socket.poll_send(cx, bytes))).await;
            written.ok().map(Result::unwrap)
        };
        not_failed(&socket).await;
        assert_eq!(write(b"y", PATIENCE).await, Some(1));
        not_failed(&socket).await;
        let with = |cx: &mut Context<'_>| {
            socket.poll_write_with(cx, |_| socket.try_send_vectored(&[IoSlice::new(b"z")]))
        };
        assert_eq!(timeout(PATIENCE, poll_fn(with)).await.expect("there is room").unwrap(), 1);
        not_failed(&socket).await;
        let mut sent = 2;
        while let Some(count) = write(&[0; 1 << 16], Duration::from_millis(100)).await {
            sent += count;
        }
        let reading = std::thread::spawn(move || {
            let mut rest = vec![0; sent + 1];
            app.read_exact(&mut rest).map(|()| app)
        });
        assert_eq!(write(b"w", PATIENCE).await, Some(1), "room wakes it");
        let _app = reading.join().unwrap().unwrap();
    });
}

#[test]
fn what_waits_for_room_behind_an_end_is_told_of_a_reset() {
    behind_the_end(async |app, socket| {
        not_failed(&socket).await;
        let write = async || poll_fn(|cx| socket.poll_send(cx, &[0; 1 << 16])).await;
        while timeout(Duration::from_millis(100), write()).await.is_ok() {}
        SockRef::from(&app).set_linger(Some(Duration::ZERO)).unwrap();
        drop(app);
        assert!(timeout(PATIENCE, write()).await.expect("it is woken").is_err());
    });
}

/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);
