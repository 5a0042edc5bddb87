import Foundation
import Testing
import TocsinTesting

@testable import Tocsin

/// The real transport, against bytes on a socket.
@Suite(.timeLimit(.minutes(1))) struct OverHTTP {
    private func answer(_ pieces: [String], timeout: TimeInterval = 5) async throws -> (Result<JSON, PhoneError>, OneShotServer) {
        let server = try OneShotServer([pieces])
        let clock = ServerClock(system: .system, storage: MemoryStorage())
        let gateway = Gateway(transport: HTTPTransport(), system: .system, clock: clock, agent: "test")
        let call = Call(path: "/v1/push/actions", body: ["a": "b"], bearer: "tcd_secret", timeout: timeout)
        do throws(PhoneError) {
            return (.success(try await gateway.answer(call, at: URL(string: "http://127.0.0.1:\(server.port)")!)), server)
        } catch {
            return (.failure(error), server)
        }
    }

    @Test func anAnswerInPieces() async throws {
        let (result, server) = try await answer(["HTTP/1.1 200 OK\r\nContent-Le", "ngth: 13\r\n\r\n{\"ok\"", ": tr", "ue}\n"])
        #expect(try result.get()["ok"].bool)
        let request = try #require(server.requests.first)
        #expect(request.hasPrefix("POST /v1/push/actions HTTP/1.1\r\n"))
        #expect(request.contains("Authorization: Bearer tcd_secret\r\n") && request.hasSuffix("{\"a\":\"b\"}"))
    }

    @Test func aRedirectIsNotFollowed() async throws {
        let elsewhere = try OneShotServer([["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"]])
        let (result, _) = try await answer(["HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:\(elsewhere.port)/\r\nContent-Length: 0\r\n\r\n"])
        #expect(throws: PhoneError.self) { try result.get() }
        if case .failure(let error) = result { #expect(error.status == 302 && error.remedy == .retry) }
        #expect(elsewhere.requests.isEmpty)
    }

    @Test(arguments: [
        "", "rubbish\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"outcome\":\"OUTCOME_DONE\"}", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    ])
    func halfAnAnswerIsNone(_ bytes: String) async throws {
        let (result, _) = try await answer([bytes])
        guard case .failure(let error) = result else {
            Issue.record("it was taken for an answer")
            return
        }
        #expect(error.remedy == .retry)
    }

    @Test func nobodyThere() async throws {
        let clock = ServerClock(system: .system, storage: MemoryStorage())
        let gateway = Gateway(transport: HTTPTransport(), system: .system, clock: clock, agent: "test")
        await #expect { try await gateway.answer(Call(path: "/"), at: URL(string: "http://127.0.0.1:1")!) } throws: {
            ($0 as? PhoneError)?.reason == PhoneError.noAnswer
        }
    }

    @Test func aServerThatDripsIsGivenUp() async throws {
        let start = Date()
        let (result, _) = try await answer(["HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"] + [String](repeating: " ", count: 200), timeout: 0.5)
        #expect(throws: PhoneError.self) { try result.get() }
        #expect(Date().timeIntervalSince(start) < 3)
    }
}
