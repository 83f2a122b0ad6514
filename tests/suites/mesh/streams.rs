//! Whatever TCP does between two applications, it does through the mesh.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use harness::{LabError, Mesh, Pod, Stack, exchange, serve};

use e2e::calls::shop;

/// Calls of `shop/client`, on each path there is, over either family.
fn on_each_path(test: impl Fn(&Pod, &Pod) -> Result<(), LabError>) -> Result<(), LabError> {
    for stack in [Stack::V4, Stack::V6] {
        let mesh = Mesh::up(&shop(stack))?;
        let client = mesh.pod("shop/client");
        for target in ["shop/server", "shop/near", "legacy/printer"] {
            test(&client, &mesh.pod(target))?;
        }
    }
    Ok(())
}

#[test]
fn a_server_may_speak_first() -> Result<(), LabError> {
    on_each_path(|client, target| {
        let greeter = target.serve(0, serve::banner("220 ready\r\n"))?;
        let mut heard = [0; 11];
        client.connect(target.at(greeter.port()))?.read_exact(&mut heard)?;
        assert_eq!(&heard, b"220 ready\r\n");
        Ok(())
    })
}

#[test]
fn a_reset_arrives_as_a_reset_and_an_end_as_an_end() -> Result<(), LabError> {
    on_each_path(|client, target| {
        let resetter = target.serve(
            0,
            serve::Handler::each(|mut app| {
                app.read_exact(&mut [0])?;
                socket2::SockRef::from(app).set_linger(Some(Duration::ZERO))
            }),
        )?;
        let mut stream = client.connect(target.at(resetter.port()))?;
        stream.write_all(b"x")?;
        assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);

        let closer = target.serve(0, serve::Handler::each(|mut app| app.read_exact(&mut [0])))?;
        let mut stream = client.connect(target.at(closer.port()))?;
        stream.write_all(b"x")?;
        assert_eq!(stream.read(&mut [0])?, 0);
        Ok(())
    })
}

#[test]
fn a_half_closed_connection_still_carries_the_answer() -> Result<(), LabError> {
    on_each_path(|client, target| {
        let counter = target.serve(
            0,
            serve::Handler::each(|mut app| {
                let mut all = Vec::new();
                app.read_to_end(&mut all)?;
                app.write_all(all.len().to_string().as_bytes())
            }),
        )?;
        let mut stream = client.connect(target.at(counter.port()))?;
        stream.write_all(&[7; 300_000])?;
        stream.shutdown(Shutdown::Write)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        assert_eq!(answer, "300000");
        Ok(())
    })
}

#[test]
fn hundreds_of_connections_at_once_each_carry_their_own() -> Result<(), LabError> {
    on_each_path(|client, target| {
        let echo = target.serve(0, serve::echo())?;
        let mut streams =
            (0..300).map(|_| client.connect(target.at(echo.port()))).collect::<Result<Vec<_>, _>>()?;
        for (number, stream) in (0_u32..300).zip(&mut streams) {
            stream.write_all(&number.to_be_bytes())?;
        }
        for (number, stream) in (0_u32..300).zip(&mut streams).rev() {
            let mut heard = [0; 4];
            stream.read_exact(&mut heard)?;
            assert_eq!(u32::from_be_bytes(heard), number);
        }
        Ok(())
    })
}

#[test]
fn bulk_arrives_unchanged_in_both_directions_at_once() -> Result<(), LabError> {
    on_each_path(|client, target| {
        let echo = target.serve(0, serve::echo())?;
        let length = match target.name() {
            "server" if target.ip().is_ipv4() => 1 << 30,
            "server" => 256 << 20,
            _ => 96 << 20,
        };
        exchange(client, target.at(echo.port()), length)
    })
}
