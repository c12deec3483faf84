# Copyright: gatehouse.mail contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# gatehouse-greylist-database FOLDER: before postgrey starts, see that the database there takes an entry, and set aside
# one that does not.
#
# A killed postgrey leaves a database that Berkeley DB's recovery mends, as postgrey itself would at its start. With one
# that is beyond that, postgrey would not start at all, or forget whom it told to come again, and all strangers would wait
# forever. A new database costs each of them one more wait.

use strict;
use warnings;
use Errno qw(ENOENT ENOSPC);
use BerkeleyDB;

my ($home) = @ARGV or die "which folder?\n";
my @databases = ('postgrey.db', 'postgrey_clients.db');
my $patience = 60;    # seconds; recovery may hang in what is broken
my $full = 2;

sub fails {
    my ($what) = @_;
    my $error = $BerkeleyDB::Error || $!;
    my $code = $!{ENOSPC} ? $full : 1;
    print STDERR "$what: $error\n";
    exit $code;
}

# In a process of its own, since a broken database may also end the process.
my $child = fork // die "fork: $!\n";
if (!$child) {
    alarm $patience;
    umask 0077;
    my $env = BerkeleyDB::Env->new(
        -Home     => $home,
        -Flags    => DB_CREATE | DB_RECOVER | DB_INIT_TXN | DB_INIT_MPOOL | DB_INIT_LOG,
        -SetFlags => DB_AUTO_COMMIT,
    ) or fails('recovery');
    for my $name (grep { -e "$home/$_" } @databases) {
        BerkeleyDB::db_verify(-Filename => $name, -Env => $env) == 0 or fails($name);
        my $db = BerkeleyDB::Btree->new(-Filename => $name, -Env => $env) or fails($name);
        $db->db_put('gatehouse', '0,0') == 0 or fails($name);
        $db->db_del('gatehouse') == 0 or fails($name);
    }
    exit 0;
}
waitpid $child, 0;
exit 0 if $? == 0;
# No room is no damage: postgrey stays away, and mail is taken without it, until there is some.
die "no room in $home\n" if $? >> 8 == $full;

my $aside = "$home/broken";
mkdir $aside, 0700 or -d $aside or die "$aside: $!\n";
unlink glob "$aside/*";
for my $path (glob "$home/*.db $home/log.* $home/__db.*") {
    my ($name) = $path =~ m{([^/]+)$};
    rename $path, "$aside/$name" or die "$path: $!\n";
}
print STDERR "the database is broken and was set aside in $aside; a new one begins\n";
