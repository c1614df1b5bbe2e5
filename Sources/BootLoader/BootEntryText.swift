/// What a boot entry's file says, as the Boot Loader Specification has it (type #1): three lines, less than a sector. The kernel's
/// command line is in the unified kernel image.
public enum BootEntryText {
    /// No entry that is made here is longer, in bytes: one sector.
    public static let limit = 512
    /// What is longer is no entry.
    public static let readLimit: Int64 = 4096

    /// The text of the entry `name`, which starts `kernel`.
    public static func make(_ name: BootEntryName, kernel: KernelName) -> String {
        "title \(name.product) \(name.version)\nsort-key \(name.product)\nefi /\(kernel)\n"
    }

    /// The kernel image that `text` starts, or nil where it starts none, or one of another version: a power cut may have left anything
    /// under an entry's name. What else it says, and how, may be somebody else's.
    public static func kernel(_ text: String, of name: BootEntryName) -> KernelName? {
        let values = text.split { $0.isNewline }.map { $0.drop { $0 == " " || $0 == "\t" } }
            .filter { $0.hasPrefix("efi ") || $0.hasPrefix("efi\t") }
        guard values.count == 1, let line = values.first else { return nil }
        let path = line.dropFirst(3).filter { $0 != " " && $0 != "\t" }
        let directory = "/\(KernelName.directory(product: name.product))/"
        guard path.hasPrefix(directory) else { return nil }
        let kernel = KernelName(product: name.product, fileName: String(path.dropFirst(directory.count)))
        return kernel.isOf(name.version) ? kernel : nil
    }
}
