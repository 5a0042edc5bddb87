import Foundation

#if canImport(Glibc)
    import Glibc
#elseif canImport(Darwin)
    import Darwin
#endif

/// Listens on loopback, answers each connection with the next bytes, and remembers what it was asked.
final class OneShotServer: @unchecked Sendable {
    let port: UInt16
    private let lock = NSLock()
    private var heard: [String] = []

    var requests: [String] {
        lock.lock()
        defer { lock.unlock() }
        return heard
    }

    /// - Parameter answers: the pieces of each answer, in which they are sent with a pause between them.
    init(_ answers: [[String]]) throws {
        signal(SIGPIPE, SIG_IGN) // whoever has gone needs no answer
        #if canImport(Glibc)
            let stream = Int32(SOCK_STREAM.rawValue)
        #else
            let stream = SOCK_STREAM
        #endif
        let listener = socket(AF_INET, stream, 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = inet_addr("127.0.0.1")
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let bound = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(listener, $0, size) + listen(listener, 8) + getsockname(listener, $0, &size) }
        }
        guard bound == 0 else { throw POSIXError(.EADDRINUSE) }
        port = UInt16(bigEndian: address.sin_port)
        Thread.detachNewThread { [weak self] in
            for pieces in answers {
                let connection = accept(listener, nil, nil)
                var buffer = [UInt8](repeating: 0, count: 65_536)
                let count = max(read(connection, &buffer, buffer.count), 0)
                self?.add(String(decoding: buffer.prefix(count), as: UTF8.self))
                for piece in pieces {
                    _ = piece.withCString { write(connection, $0, strlen($0)) }
                    usleep(20_000)
                }
                close(connection)
            }
            close(listener)
        }
    }

    private func add(_ request: String) {
        lock.lock()
        defer { lock.unlock() }
        heard.append(request)
    }
}
