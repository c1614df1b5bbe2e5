import CZstd
public import Fault

/// Why data could not be compressed or decompressed.
public enum CompressionFaultCode: String, FaultCode {
    /// The data is no zstd frame, or a damaged one.
    case malformed
    /// The frame holds more or fewer bytes than were expected.
    case wrongSize = "wrong-size"
    /// There is no memory left for a context.
    case noMemory = "no-memory"
    /// The library refused for a reason of its own.
    case library
}

/// A failure of compressing or decompressing.
public typealias CompressionFault = Fault<CompressionFaultCode>

extension Fault where Code == CompressionFaultCode {
    static func library(_ code: CompressionFaultCode, _ what: String, _ result: Int) -> CompressionFault {
        CompressionFault(code, "\(what): \(String(cString: ZSTD_getErrorName(result)))")
    }

    static func noContext() -> CompressionFault {
        CompressionFault(.noMemory, "no memory left for a zstd context")
    }
}
