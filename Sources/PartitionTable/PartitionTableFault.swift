public import Fault

/// Why a partition table cannot be read or written.
public enum PartitionTableFaultCode: String, FaultCode {
    /// There is no GPT, or one that libfdisk refuses.
    case invalid
    /// libfdisk could not open, read or write the disk.
    case inputOutput = "input-output"
    /// The partitions do not fit on the disk.
    case tooLarge = "too-large"
    /// The table has no such partition.
    case notFound = "not-found"
}

/// A failure of reading or writing a partition table.
public typealias PartitionTableFault = Fault<PartitionTableFaultCode>
