# What counting.py knows of awstats: it takes lines after the first, a comment, counts those that are later than its last
# one, and writes a history for each month anew. FAIL in the folder of the history makes it fail.
use strict;
my $data = $ENV{GATEHOUSE_DATA};
my ($name) = map { /^-config=(.*)/ } @ARGV;
exit 3 if -e "$data/../FAIL";
if (grep { $_ eq "-update" } @ARGV) {
    my (%months, $count);
    <STDIN> eq "#\n" or die "no comment";
    my $last = join "", map { open my $file, "<", $_; (<$file>)[-1] } (sort { substr($a, -4) . $a cmp substr($b, -4) . $b } glob "$data/awstats*")[-1] // ();
    while (<STDIN>) {
        die "not in order: $_" if substr($_, 0, 19) lt substr($last, 0, 19);
        next if !$count && substr($_, 0, 19) eq substr($last, 0, 19);
        my ($year, $month) = /^(\d{4})-(\d\d)/;
        push @{ $months{"$month$year"} }, $_;
        $last = $_;
        $count++;
    }
    for my $month (keys %months) {
        my $file = "$data/awstats$month.$name.txt";
        open my $old, "<", $file;
        my @lines = (<$old>, @{ $months{$month} });
        open my $new, ">", "$file.tmp";
        print $new @lines;
        close $new;
        rename "$file.tmp", $file;
    }
    print "Found $count new qualified records.\n";
}
else {
    my ($folder) = map { /^-dir=(.*)/ } @ARGV;
    my ($year) = map { /^-year=(.*)/ } @ARGV;
    my ($month) = map { /^-month=(.*)/ } @ARGV;
    $month = "*" if $month eq "all";
    for my $page ("", ".allhosts") {
        open my $file, ">", "$folder/awstats.$name$page.html";
        print $file map { open my $history, "<", $_; <$history> } glob "$data/awstats$month$year.*";
    }
}
